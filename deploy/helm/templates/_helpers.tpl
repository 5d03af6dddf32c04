{{/* The number of coordinators, as a list of their ordinals. */}}
{{- define "thalweg.members" -}}
{{- $members := list -}}
{{- range $ordinal := until (int .Values.coordinator.replicas) -}}
{{- $members = append $members (printf "%d=coordinator-%d.coordinator:7070" (add1 $ordinal) $ordinal) -}}
{{- end -}}
{{- join "," $members -}}
{{- end -}}

{{/* Three are enough for five coordinators, too: without any of these three, nobody would lead. So nodes need not start anew. */}}
{{- define "thalweg.coordinators" -}}
{{- $coordinators := list -}}
{{- range $ordinal := until (min 3 (int .Values.coordinator.replicas) | int) -}}
{{- $coordinators = append $coordinators (printf "coordinator-%d.coordinator:7070" $ordinal) -}}
{{- end -}}
{{- join "," $coordinators -}}
{{- end -}}

{{- define "thalweg.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}

{{/* Variables that only one role reads, and those of stores, which both read. */}}
{{- define "thalweg.variables.coordinator" -}}
{{- if and (ne .Values.checkpoints.interval "off") (not .Values.checkpoints.url) -}}
{{- fail "checkpoints.url: name a place for checkpoints, such as s3://bucket/path; or set checkpoints.interval to off" -}}
{{- end -}}
THALWEG_CLUSTER: {{ .Values.cluster | quote }}
THALWEG_MEMBERS: {{ include "thalweg.members" . | quote }}
THALWEG_CHECKPOINT_INTERVAL: {{ .Values.checkpoints.interval | quote }}
{{- with .Values.checkpoints.url }}
THALWEG_CHECKPOINTS: {{ . | quote }}
{{- end }}
{{- end -}}

{{- define "thalweg.variables.node" -}}
THALWEG_COORDINATOR: {{ include "thalweg.coordinators" . | quote }}
THALWEG_MEMORY: {{ .Values.node.memoryShare | quote }}
THALWEG_SLOTS: {{ .Values.node.slots | quote }}
{{- /* Longer than an attempt that is cancelled may take to end. terminationGracePeriodSeconds goes with it. */}}
THALWEG_LEAVE_GRACE: 60 s
{{- range $name, $value := .Values.node.variables }}
{{ $name }}: {{ $value | quote }}
{{- end }}
{{- end -}}
