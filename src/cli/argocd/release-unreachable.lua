-- What is written there already stays: whoever wrote it meant it.
obj.metadata.annotations = obj.metadata.annotations or {}
local names = obj.metadata.annotations["hub.kro.run/release"] or ""
for _, cluster in ipairs(((obj.status or {}).fleet or {}).clusters or {}) do
  if cluster.state == "Unreachable" then
    if names ~= "" then
      names = names .. ","
    end
    names = names .. cluster.name
  end
end
if names ~= "" then
  obj.metadata.annotations["hub.kro.run/release"] = names
end
return obj
