"""What the lake must hold, computed from a recording in plain Python, without a line of the code under test.

Read the modules in this order: `recording` (frames → facts), `tape` (facts → what the exchange stand-in has traded by
when), `tables` (facts → the rows of Silver and Gold).
"""
