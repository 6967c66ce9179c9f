obj.metadata.annotations = obj.metadata.annotations or {}
obj.metadata.annotations["kro.run/reconcile"] = "suspended"
return obj
