"""The words that comparisons end in, as tables have them; figures and pages choose symbols and colours by them."""

# A recipe beside the best one.
BEST, WORSE, BETTER = "best", "worse", "better"
# Anything beside always answering the largest class is BETTER or
NOT_BETTER = "not better"
# The effect of a treatment.
HIGHER, LOWER = "higher", "lower"
# A claim of the reported study.
HOLDS, REVERSED = "holds", "reversed"
# Of all of them.
NOT_DISTINGUISHABLE, UNJUDGED = "not distinguishable", "cannot be judged"
