"""Privacy: does the model give away what it should keep?"""
