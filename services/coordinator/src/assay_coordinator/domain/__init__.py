"""What a study is: specification, matrix, states, comparisons. Pure, no I/O."""
