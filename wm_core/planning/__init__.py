"""Goals, costs and the search for actions that reach them in the imagined future."""
