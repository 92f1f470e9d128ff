"""Labels from annotation tools and data sets, and for them: one file for each format's reader, one for its writer."""
