local annotations = obj.metadata.annotations or {}
annotations["kro.run/reconcile"] = nil
-- Argo CD would take an empty map for one that did not change.
if next(annotations) == nil then
  annotations["kro.run/reconcile"] = "enabled"
end
obj.metadata.annotations = annotations
return obj
