local word = (obj.metadata.annotations or {})["kro.run/reconcile"]
local suspended = word == "suspended" or word == "Suspended" or word == "disabled" or word == "Disabled"
local fleet = (obj.status or {}).fleet or {}
local unreachable = false
for _, cluster in ipairs(fleet.clusters or {}) do
  unreachable = unreachable or cluster.state == "Unreachable"
end
local actions = {}
actions["suspend"] = { disabled = suspended }
actions["resume"] = { disabled = not suspended }
actions["release-unreachable"] = { disabled = not unreachable }
actions["allow-shrink"] = { disabled = fleet.held == nil }
return actions
