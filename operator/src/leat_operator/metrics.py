"""What the operator counts. Names and labels are a public interface: dashboards and alerts read them."""

from prometheus_client import Counter, Gauge, Histogram

API_WRITES = Counter(
    "leat_operator_api_writes_total",
    "Requests of the operator that wrote to the API server, by resource and verb, whatever their outcome",
    ["resource", "verb"],
)
API_ERRORS = Counter(
    "leat_operator_api_errors_total",
    "Requests of the operator that the API server refused or did not answer, by status code (0: no answer)",
    ["code"],
)
ACCEPTED = Counter("leat_operator_runs_accepted_total", "Runs that entered the store")
REJECTED = Counter("leat_operator_runs_rejected_total", "Runs that can never be accepted")
ACCEPT_BATCH = Histogram(
    "leat_operator_accept_batch_runs", "Runs per accept", buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500)
)
REPORTED = Counter("leat_operator_reports_total", "Status patches of runs, by what they told", ["stage"])
UNREPORTED = Gauge("leat_operator_reports_waiting", "Runs whose status is behind the store")
TIDIED = Counter("leat_operator_runs_tidied_total", "Finished WorkflowRuns deleted, by rule (ttl, limit)", ["rule"])
HISTORY_LISTS = Counter("leat_operator_history_lists_total", "Times that all finished WorkflowRuns were listed")
TO_TIDY = Gauge("leat_operator_runs_to_tidy", "Finished WorkflowRuns that a ttl or a limit of history speaks of")
CANCELLED = Counter("leat_operator_runs_deleted_total", "Runs cancelled because their resource was deleted")
ACTIVE = Gauge("leat_operator_active", "1 while this replica holds the Lease")
SERVED = Counter(
    "leat_operator_requests_total", "Requests to the webhook and the read API, by route and status", ["route", "code"]
)
FIRED = Counter(
    "leat_operator_trigger_runs_total", "Runs that triggers started, by source (schedule, amqp, kafka)", ["source"]
)
UNFIRED = Counter(
    "leat_operator_trigger_unfired_total",
    "Moments and messages that started no run, by reason (overlap, misfit, condition, refused)",
    ["reason"],
)
