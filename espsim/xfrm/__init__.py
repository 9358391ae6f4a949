"""The language of `ip xfrm state`, read (parse) and written (show). The place for whole `ip xfrm` batches, too."""
