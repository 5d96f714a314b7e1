"""stagewise: does the order of training data change how a language model reasons?"""

__version__ = "0.2.0"
