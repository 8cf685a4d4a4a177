;; Wants a function of its own invention, beside an interface that holds types alone, which is no import.
(component
  (import "acme:types/names@1.0.0" (instance
    (type $name (record (field "first" string)))
    (export "name" (type (eq $name)))))
  (import "send-home" (func (param "secret" string))))
