;; Data for the last bytes of 4 GB, in a memory of one MiB.
(data (i32.const -16) "the end")
