-- How Argo CD reads a RunQuota. `obj` is the resource.
local status = obj.status or {}
local health = {status = "Progressing", message = "Waiting for the operator"}
if status.observedGeneration == nil or status.observedGeneration ~= obj.metadata.generation then
  return health
end

local found = {}
for _, condition in ipairs(status.conditions or {}) do
  found[condition.type] = condition
end
if found.Ready ~= nil then
  health.message = found.Ready.message
  if found.Ready.status == "True" then
    health.status = "Healthy"
  end
end
if found.Stalled ~= nil and found.Stalled.status == "True" then
  health = {status = "Degraded", message = found.Stalled.message}
elseif found.Reconciling ~= nil and found.Reconciling.status == "True" then
  health = {status = "Progressing", message = found.Reconciling.message}
end
return health
