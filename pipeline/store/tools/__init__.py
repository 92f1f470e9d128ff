"""What is done with whole stores: looking into them, checking, merging, packing."""
