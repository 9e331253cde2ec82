"""Turns of the drives of a machine at what they need the interpreter for.

It runs one thread at a time. Where several drives are given commands at once, and hand it to one another with every few
operations, all of their kernels begin as late as that of the last. Taken in turns, the first drive's kernel runs while the next
drive finds out what its own is to do.
"""

import threading

PREPARING = threading.Lock()
"""Held by the drive that checks a command, and stores what comes with it, before its kernel begins."""
