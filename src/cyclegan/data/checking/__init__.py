"""What is wrong with a data set, told before a training finds it out: one look at each file, then findings in words."""
