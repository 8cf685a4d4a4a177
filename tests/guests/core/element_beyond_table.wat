;; A function for slot 4,000,000,000 of a table of one.
(table 1 funcref)
(func $f)
(elem (i32.const -294967296) $f)
