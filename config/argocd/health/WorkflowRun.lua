-- How Argo CD reads a WorkflowRun. `obj` is the resource.
-- How a run ended does not change with its spec any more, so an end counts whatever generation it was told for.
local status = obj.status or {}
local phase = status.phase
local health = {status = "Progressing", message = status.message or "Waiting for the operator"}
local ends = {Succeeded = "Healthy", Failed = "Degraded", Cancelled = "Healthy"}

if phase ~= nil and ends[phase] ~= nil then
  health.status = ends[phase]
  local annotations = obj.metadata.annotations or {}
  if phase == "Cancelled" and annotations["argocd.argoproj.io/hook"] ~= nil then
    health.status = "Degraded" -- whatever waits for the hook must not go on as if its work were done
  end
elseif status.observedGeneration ~= nil and status.observedGeneration ~= obj.metadata.generation then
  health.message = "Waiting for the operator"
elseif phase == "Suspended" then
  health.status = "Suspended"
end
return health
