"""Reading checkpoints in Hugging Face layout without a tensor library: headers, checks, digests."""
