"""Recorded cases: what is in the files, which cases there are, how they are computed, checked, and changed on purpose.

`files` needs no torch and no oracle. A case has exact inputs and the certified answer, or
the reference's at full size.
"""
