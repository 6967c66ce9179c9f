{{- define "kro-hub.name" -}}
{{ .Values.fullnameOverride | default "kro-hub" | trunc 52 | trimSuffix "-" }}
{{- end }}

{{- define "kro-hub.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{ .Values.serviceAccount.name | default (include "kro-hub.name" .) }}
{{- else -}}
{{ required "serviceAccount.name: name the ServiceAccount, or let the chart create one" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "kro-hub.selector" -}}
app.kubernetes.io/name: kro-hub
{{- end }}

{{- define "kro-hub.labels" -}}
{{ include "kro-hub.selector" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "kro-hub.webhook.selector" -}}
app.kubernetes.io/name: kro-hub-webhook
{{- end }}

{{- define "kro-hub.webhook.labels" -}}
{{ merge (include "kro-hub.webhook.selector" . | fromYaml) (include "kro-hub.labels" . | fromYaml) | toYaml }}
{{- end }}

{{- define "kro-hub.image" -}}
{{- with .Values.image -}}
{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end }}
{{- end }}

{{- /* Namespaces of kubeconfig Secrets, the release's own first. */ -}}
{{- define "kro-hub.clusterNamespaces" -}}
{{ prepend .Values.clusterNamespaces .Release.Namespace | uniq | join "," }}
{{- end }}
