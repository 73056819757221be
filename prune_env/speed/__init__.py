"""How fast it is: the same work by this project and by what people would run otherwise, side by side in one process."""
