{{/* Names, labels, images: what every template needs. */}}

{{- define "assay.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{/* Prefix of resource names: short enough for the longest component, evaluator-adv-demonstration, in a Service of 63. */}}
{{- define "assay.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 35 | trimSuffix "-" -}}
{{- else if contains (include "assay.name" .) .Release.Name -}}
{{- .Release.Name | trunc 35 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "assay.name" .) | trunc 35 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* Name of a component's resources: (dict "root" $ "component" "evaluator-adv_glue"). */}}
{{- define "assay.component" -}}
{{- printf "%s-%s" (include "assay.fullname" .root) (.component | replace "_" "-") -}}
{{- end -}}

{{/* Labels that select pods; never changed between versions. */}}
{{- define "assay.selectorLabels" -}}
app.kubernetes.io/name: {{ include "assay.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
{{- with .component }}
app.kubernetes.io/component: {{ . | replace "_" "-" }}
{{- end }}
{{- end -}}

{{- define "assay.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{ include "assay.selectorLabels" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: assay
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Image reference: (dict "root" $ "name" "serving"). */}}
{{- define "assay.image" -}}
{{- $image := .root.Values.image -}}
{{- $parts := compact (list $image.registry $image.repository .name) -}}
{{- printf "%s:%s" (join "/" $parts) (default .root.Chart.AppVersion $image.tag) -}}
{{- end -}}

{{/* Secret with tokens. */}}
{{- define "assay.authSecret" -}}
{{- default (printf "%s-auth" (include "assay.fullname" .)) .Values.auth.existingSecret -}}
{{- end -}}

{{- define "assay.dataClaim" -}}
{{- default (printf "%s-data" (include "assay.fullname" .)) .Values.storage.pvc.existingClaim -}}
{{- end -}}

{{/* Port of an S3 store by its endpoint. */}}
{{- define "assay.s3Port" -}}
{{- $port := regexFind "[0-9]+$" (regexFind ":[0-9]+$" (trimSuffix "/" .)) -}}
{{- default (ternary "80" "443" (hasPrefix "http://" .)) $port -}}
{{- end -}}

{{/* Host of a component's Service, as the other services write it. */}}
{{- define "assay.address" -}}
{{- printf "dns:///%s.%s.svc:7400" (include "assay.component" .) .root.Release.Namespace -}}
{{- end -}}

{{/* Deployed evaluators with their values: YAML of {dimension: values}. */}}
{{- define "assay.evaluators" -}}
{{- $found := dict -}}
{{- range $dimension, $own := .Values.evaluators.dimensions -}}
{{- $values := mergeOverwrite (deepCopy $.Values.evaluators.defaults) (default dict $own) -}}
{{- if $values.enabled -}}{{- $_ := set $found $dimension $values -}}{{- end -}}
{{- end -}}
{{- toYaml $found -}}
{{- end -}}

{{/* Every component that serves gRPC, and whose image and identity it has: YAML of {component: service}. */}}
{{- define "assay.components" -}}
coordinator: coordinator
compression: compression
serving: serving
{{- if .Values.scoring.enabled }}
scoring: scoring
{{- end }}
{{- range $dimension, $_ := include "assay.evaluators" . | fromYaml }}
evaluator-{{ $dimension }}: evaluator
{{- end }}
{{- end -}}

{{/* "true" if a feature that needs CRDs is to be rendered: (dict "root" $ "mode" "auto" "api" "group/version/Kind"). */}}
{{- define "assay.crd" -}}
{{- if or (eq .mode "on") (and (eq .mode "auto") (.root.Capabilities.APIVersions.Has .api)) -}}true{{- end -}}
{{- end -}}

{{/* Refuse combinations that would not work, in words. */}}
{{- define "assay.validate" -}}
{{- $v := .Values -}}
{{- if and (gt (int $v.coordinator.replicas) 1) (ne $v.database.type "postgres") -}}
{{- fail "coordinator.replicas > 1 needs database.type=postgres: a SQLite file has one owner" -}}
{{- end -}}
{{- if and (eq $v.database.type "postgres") (not $v.database.postgres.existingSecret) (not $v.database.postgres.bundled.enabled) -}}
{{- fail "database.type=postgres needs database.postgres.existingSecret, or database.postgres.bundled.enabled=true" -}}
{{- end -}}
{{- if and (eq $v.storage.type "s3") (not $v.storage.s3.uri) -}}
{{- fail "storage.type=s3 needs storage.s3.uri (s3://BUCKET/PREFIX)" -}}
{{- end -}}
{{- if and (eq $v.storage.type "s3") (ne $v.serving.ray.mode "embedded") -}}
{{- fail "storage.type=s3 needs serving.ray.mode=embedded: Ray workers read checkpoints from the shared volume" -}}
{{- end -}}
{{- if and (eq $v.serving.ray.mode "external") (not $v.serving.ray.address) -}}
{{- fail "serving.ray.mode=external needs serving.ray.address (HOST:PORT of the GCS)" -}}
{{- end -}}
{{- if and (eq $v.serving.ray.keda.mode "on") (not $v.serving.ray.keda.prometheusAddress) -}}
{{- fail "serving.ray.keda.mode=on needs serving.ray.keda.prometheusAddress: KEDA asks it which models are wanted" -}}
{{- end -}}
{{- if and $v.ingress.enabled (not $v.ingress.host) -}}
{{- fail "ingress.enabled=true needs ingress.host" -}}
{{- end -}}
{{- if and $v.ingress.http.host (not (and $v.ingress.enabled $v.serving.http.enabled)) -}}
{{- fail "ingress.http.host needs ingress.enabled=true and serving.http.enabled=true" -}}
{{- end -}}
{{- if and $v.ingress.enabled (eq $v.ingress.tls.certManager "on") (not $v.ingress.tls.issuerRef) -}}
{{- fail "ingress.tls.certManager=on needs ingress.tls.issuerRef" -}}
{{- end -}}
{{- if and $v.scoring.enabled (not $v.scoring.settings.checkpoints) -}}
{{- fail "scoring.enabled=true needs scoring.settings.checkpoints: {NAME: directory below a mountPath of models.volumes}" -}}
{{- end -}}
{{- if eq $v.tls.mode "secrets" -}}
{{- range $component := append (include "assay.components" . | fromYaml | keys | sortAlpha) "client" -}}
{{- if not (include "assay.tlsSecret" (dict "root" $ "component" $component)) -}}
{{- fail (printf "tls.mode=secrets needs tls.secrets.name, or tls.secrets.byComponent.%s" ($component | replace "_" "-")) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and (eq $v.tls.mode "certManager") (not $v.tls.certManager.issuerRef) -}}
{{- fail "tls.mode=certManager needs tls.certManager.issuerRef" -}}
{{- end -}}
{{- if not (include "assay.evaluators" . | fromYaml) -}}
{{- fail "evaluators.dimensions: at least one evaluator must be enabled" -}}
{{- end -}}
{{- end -}}
