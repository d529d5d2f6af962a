"""Request and response models, one module for each noun. The schemas of a release's files are `releases.contents`."""
