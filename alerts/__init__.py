"""People, and the systems they watch: what they are told, in which words, and that it arrives."""
