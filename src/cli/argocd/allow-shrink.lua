local held = ((obj.status or {}).fleet or {}).held
if held ~= nil then
  obj.metadata.annotations = obj.metadata.annotations or {}
  obj.metadata.annotations["hub.kro.run/allow-shrink"] = held.token
end
return obj
