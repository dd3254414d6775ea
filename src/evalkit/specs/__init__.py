"""Run entries, conf files, run specs, expanders and digests."""
