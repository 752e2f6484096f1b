{{- define "leat.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" }}
{{- end }}

{{/* Names of objects begin with it. 40 characters leave room for what follows. */}}
{{- define "leat.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" }}
{{- else if contains (include "leat.name" .) .Release.Name }}
{{- .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "leat.name" .) | trunc 40 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "leat.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: leat
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
{{ include "leat.release" . }}
{{- end }}

{{- define "leat.release" -}}
app.kubernetes.io/name: {{ include "leat.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* Labels by which the pods of one part are found: include "leat.selector" (list . "operator") */}}
{{- define "leat.selector" -}}
{{ include "leat.release" (index . 0) }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{/* include "leat.image" (list . .Values.images.operator) */}}
{{- define "leat.image" -}}
{{- $root := index . 0 }}{{- $image := index . 1 }}
{{- if $image.digest }}
{{- printf "%s@%s" $image.repository $image.digest }}
{{- else }}
{{- printf "%s:%s" $image.repository (default $root.Chart.AppVersion $image.tag) }}
{{- end }}
{{- end }}

{{- define "leat.operatorAccount" -}}
{{- $account := .Values.operator.serviceAccount }}
{{- default (ternary (printf "%s-operator" (include "leat.fullname" .)) "default" $account.create) $account.name }}
{{- end }}

{{/* Service account of a pool's runners; empty when they need none: include "leat.poolAccount" (list . NAME POOL) */}}
{{- define "leat.poolAccount" -}}
{{- $pool := index . 2 }}
{{- if $pool.serviceAccountName }}
{{- $pool.serviceAccountName }}
{{- else if or $pool.serviceAccountAnnotations (dig "secrets" "namespaces" list $pool) (dig "containers" "namespaces" list $pool) }}
{{- printf "%s-pool-%s" (include "leat.fullname" (index . 0)) (index . 1) }}
{{- end }}
{{- end }}

{{/* The Secret with database-url, amqp-url and amqp-management-url. */}}
{{- define "leat.secret" -}}
{{- default (printf "%s-connections" (include "leat.fullname" .)) .Values.existingSecret }}
{{- end }}

{{/* Its content. What is missing is said here, before anything is installed. */}}
{{- define "leat.connections" -}}
{{- $password := include "leat.devPassword" . }}
{{- $dev := .Values.dev }}
{{- $name := include "leat.fullname" . }}
{{- $database := .Values.postgres.url }}
{{- $amqp := .Values.rabbitmq.url }}
{{- $management := .Values.rabbitmq.managementUrl }}
{{- if $dev.postgres.enabled }}
{{- $database = printf "postgresql://leat:%s@%s-dev-postgres.%s.svc:5432/leat" $password $name .Release.Namespace }}
{{- end }}
{{- if $dev.rabbitmq.enabled }}
{{- $amqp = printf "amqp://leat:%s@%s-dev-rabbitmq.%s.svc:5672/" $password $name .Release.Namespace }}
{{- $management = printf "http://leat:%s@%s-dev-rabbitmq.%s.svc:15672/" $password $name .Release.Namespace }}
{{- end }}
database-url: {{ required "postgres.url is missing. Set it, or existingSecret, or (to try Leat out) dev.postgres.enabled=true" $database | quote }}
amqp-url: {{ required "rabbitmq.url is missing. Set it, or existingSecret, or (to try Leat out) dev.rabbitmq.enabled=true" $amqp | quote }}
amqp-management-url: {{ required "rabbitmq.managementUrl is missing: the scaling of pools reads lengths of queues there" $management | quote }}
{{- end }}

{{/* Of the bundled instances: as open as they are, and the same at each upgrade, without a look into the cluster. */}}
{{- define "leat.devPassword" -}}
{{- printf "%s/%s" .Release.Namespace .Release.Name | sha256sum | trunc 24 }}
{{- end }}

{{- define "leat.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "leat.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{/* The environment that names the installation's connections. */}}
{{- define "leat.databaseEnv" -}}
- name: LEAT_DATABASE_URL
  valueFrom: {secretKeyRef: {name: {{ . }}, key: database-url}}
{{- end }}

{{- define "leat.migrateContainer" -}}
{{- $root := index . 0 }}
name: migrate
image: {{ include "leat.image" (list $root $root.Values.images.operator) }}
imagePullPolicy: {{ $root.Values.images.operator.pullPolicy }}
args: [migrate]
env:
  {{- include "leat.databaseEnv" (index . 1) | nindent 2 }}
securityContext:
  {{- include "leat.containerSecurity" $root | nindent 2 }}
resources:
  requests: {cpu: 50m, memory: 96Mi}
  limits: {memory: 256Mi}
{{- end }}

{{/* Annotations of a hook's objects: include "leat.hook" (list EVENTS WEIGHT). A failed one stays, for its logs. */}}
{{- define "leat.hook" -}}
helm.sh/hook: {{ index . 0 }}
helm.sh/hook-weight: {{ index . 1 | quote }}
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end }}

{{/* Selects the pods of all pools. The operator makes them. */}}
{{- define "leat.runners" -}}
matchExpressions:
  - {key: leat.dev/pool, operator: Exists}
{{- end }}

{{/* An egress rule to these peers, or everywhere when there are none: include "leat.egress" (list PEERS PORTS) */}}
{{- define "leat.egress" -}}
- ports:
    {{- range index . 1 }}
    - {protocol: TCP, port: {{ . }}}
    {{- end }}
  {{- with index . 0 }}
  to: {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
