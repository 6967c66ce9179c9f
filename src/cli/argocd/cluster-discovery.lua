local paused = (obj.spec or {}).paused == true
local actions = {}
actions["pause"] = { disabled = paused }
actions["resume"] = { disabled = not paused }
return actions
