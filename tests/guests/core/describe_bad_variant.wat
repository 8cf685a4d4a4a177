;; Its answer is neither a document nor an error.
(data (i32.const 0) "\07")
