;; Wants a handle on something that the host keeps.
(component
  (import "acme:store/bucket@1.0.0" (instance
    (export "bucket" (type (sub resource))))))
