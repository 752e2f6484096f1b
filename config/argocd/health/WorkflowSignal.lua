-- How Argo CD reads a WorkflowSignal. `obj` is the resource. It never changes, so what became of it counts.
local status = obj.status or {}
local ends = {Delivered = "Healthy", Rejected = "Degraded"}
local health = {status = "Progressing", message = status.message or "Waiting for the operator"}
if status.phase ~= nil and ends[status.phase] ~= nil then
  health.status = ends[status.phase]
end
return health
