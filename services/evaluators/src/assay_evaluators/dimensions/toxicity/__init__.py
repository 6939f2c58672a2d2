"""Toxicity: how toxic is what the model writes?"""
