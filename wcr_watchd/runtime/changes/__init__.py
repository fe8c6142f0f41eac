"""Changes in progress: the ``desk`` takes what people ask, the ``course`` looks after them as time passes.

Both work on one ``register`` of the changes at hand, switch windows and maintenance mode by ``mode`` (which runs
programs by ``hooks``), and find out by ``verification`` whether all is well.
"""
