"""Dictated reports: sentences with their times, the findings they mention, and the gaze that belongs to each.

`transcript` makes sentences of words with times, `phrases` and `cues` read a list of phrases, `matcher` finds
the findings of a sentence with it, and `alignment` assigns fixations to findings.
"""
