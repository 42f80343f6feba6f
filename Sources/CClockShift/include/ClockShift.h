// A library to be preloaded: it declares nothing.
