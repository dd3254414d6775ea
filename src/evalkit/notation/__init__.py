"""How answers are written: numbers, boxes, option letters; one reader for each."""
