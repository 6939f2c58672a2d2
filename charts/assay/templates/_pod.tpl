{{/*
The pod of a service. Arguments:
  root       $
  component  name in labels and resources: evaluator-ethics
  service    evaluator, coordinator, compression, serving or scoring: its image, tokens file and ServiceAccount
  image      name of the image
  values     the service's values
  command    list
  config     settings of this component beside the common ones
  peerToken  key of the token it presents to other services; "" for none
  claim      name of the claim of what it must keep; "" for none
  claimPath  where that is mounted: its home, or only the databases below it
  env, ports, mounts, volumes, sidecars   lists, added as they are
  gpu        whether the container asks for values.gpu
  stateless  whether it has neither a database nor a part in the shared volume
*/}}
{{- define "assay.podTemplate" -}}
{{- $root := .root -}}
{{- $values := .values -}}
metadata:
  labels:
    {{- include "assay.labels" (dict "root" $root "component" .component) | nindent 4 }}
    assay.dev/service: {{ .service }}
  annotations:
    checksum/config: {{ include "assay.settings" . | sha256sum }}
    kubectl.kubernetes.io/default-container: {{ .service }}
    {{- if $root.Values.metrics.annotations }}
    prometheus.io/scrape: "true"
    prometheus.io/port: "7500"
    prometheus.io/path: /metrics
    {{- end }}
    {{- with mergeOverwrite (deepCopy $root.Values.podAnnotations) (default dict $values.podAnnotations) }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  serviceAccountName: {{ include "assay.component" (dict "root" $root "component" .service) }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ add (int $root.Values.grpc.drainSeconds) 15 }}
  {{- include "assay.placement" (dict "root" $root "values" $values "component" .component) | nindent 2 }}
  securityContext:
    {{- toYaml $root.Values.podSecurityContext | nindent 4 }}
  {{- if .sidecars }}
  # Ray looks for its raylet among the processes that it sees.
  shareProcessNamespace: true
  initContainers:
    {{- toYaml .sidecars | nindent 4 }}
  {{- end }}
  containers:
    - name: {{ .service }}
      image: {{ include "assay.image" (dict "root" $root "name" .image) }}
      imagePullPolicy: {{ $root.Values.image.pullPolicy }}
      command:
        {{- toYaml .command | nindent 8 }}
      env:
        - name: ASSAY_CONFIG
          value: /etc/assay/config/config.yaml
        - name: HOME
          value: /tmp
        {{- with .peerToken }}
        - name: ASSAY_PEER_TOKEN
          valueFrom:
            secretKeyRef:
              name: {{ include "assay.authSecret" $root }}
              key: {{ . }}
        {{- end }}
        {{- if and (eq $root.Values.database.type "postgres") (not .stateless) }}
        {{- include "assay.databaseEnv" . | nindent 8 }}
        {{- end }}
        {{- if and (eq $root.Values.storage.type "s3") (not .stateless) }}
        {{- include "assay.s3Env" $root.Values.storage.s3 | nindent 8 }}
        {{- end }}
        {{- with concat (default list .env) (default list $values.extraEnv) }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      ports:
        - {name: grpc, containerPort: 7400}
        - {name: metrics, containerPort: 7500}
        - {name: health, containerPort: 7600}
        {{- with .ports }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      startupProbe:
        grpc: {port: 7600}
        periodSeconds: 3
        timeoutSeconds: 5
        failureThreshold: {{ div (add (int $values.startupSeconds) 2) 3 }}
      readinessProbe:
        grpc: {port: 7600}
        periodSeconds: 5
        timeoutSeconds: 5
        failureThreshold: 3
      livenessProbe:
        grpc: {port: 7600}
        periodSeconds: 20
        timeoutSeconds: 15
        failureThreshold: 6
      {{- $resources := deepCopy $values.resources }}
      {{- if .gpu }}
      {{- $limits := default dict $resources.limits }}
      {{- $_ := set $resources "limits" (set $limits $values.gpu.resource (int $values.gpu.count)) }}
      {{- end }}
      resources:
        {{- toYaml $resources | nindent 8 }}
      securityContext:
        {{- toYaml $root.Values.securityContext | nindent 8 }}
      volumeMounts:
        - {name: config, mountPath: /etc/assay/config, readOnly: true}
        - {name: tokens, mountPath: /etc/assay/tokens, readOnly: true}
        {{- if ne $root.Values.tls.mode "off" }}
        - {name: tls, mountPath: /etc/assay/tls, readOnly: true}
        {{- end }}
        {{- if ne .claimPath "/var/lib/assay/home" }}
        - {name: home, mountPath: /var/lib/assay/home}
        {{- end }}
        {{- if .claim }}
        - {name: kept, mountPath: {{ .claimPath }}, subPath: kept}
        {{- end }}
        {{- if and (eq $root.Values.storage.type "pvc") (not .stateless) }}
        - {name: data, mountPath: /var/lib/assay/data}
        {{- end }}
        - {name: tmp, mountPath: /tmp}
        {{- with .mounts }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
  volumes:
    - name: config
      configMap:
        name: {{ include "assay.component" . }}
    - name: tokens
      secret:
        secretName: {{ include "assay.authSecret" $root }}
        items:
          - {key: tokens-{{ .service }}.yaml, path: tokens.yaml}
    {{- if ne $root.Values.tls.mode "off" }}
    - name: tls
      secret:
        secretName: {{ include "assay.tlsSecret" . }}
    {{- end }}
    {{- if ne .claimPath "/var/lib/assay/home" }}
    - name: home
      emptyDir: {}
    {{- end }}
    {{- if .claim }}
    - name: kept
      persistentVolumeClaim:
        claimName: {{ .claim }}
    {{- end }}
    {{- if and (eq $root.Values.storage.type "pvc") (not .stateless) }}
    - name: data
      persistentVolumeClaim:
        claimName: {{ include "assay.dataClaim" $root }}
    {{- end }}
    - name: tmp
      emptyDir: {}
    {{- with .volumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end -}}

{{/* Where a pod runs: (dict "root" $ "values" ... "component" ...). */}}
{{- define "assay.placement" -}}
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.runtimeClassName }}
runtimeClassName: {{ . }}
{{- end }}
{{- with .values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- if .values.topologySpreadConstraints }}
topologySpreadConstraints:
  {{- range .values.topologySpreadConstraints }}
  - {{- toYaml . | nindent 4 }}
    labelSelector:
      matchLabels:
        {{- include "assay.selectorLabels" (dict "root" $.root "component" $.component) | nindent 8 }}
  {{- end }}
{{- end }}
{{- end -}}

{{/* The settings file of a component: common settings, its own, then the user's. No secret is ever in it. */}}
{{- define "assay.settings" -}}
{{- $v := .root.Values -}}
{{- $common := dict
  "listen" "0.0.0.0:7400"
  "metrics_listen" "0.0.0.0:7500"
  "health_listen" "0.0.0.0:7600"
  "home" "/var/lib/assay/home"
  "data_uri" (ternary $v.storage.s3.uri "file:///var/lib/assay/data" (eq $v.storage.type "s3"))
  "auth_tokens_file" "/etc/assay/tokens/tokens.yaml"
  "log_level" $v.log.level
  "log_format" $v.log.format
  "reflection" $v.grpc.reflection
  "drain_seconds" $v.grpc.drainSeconds
-}}
{{- if not (kindIs "invalid" $v.grpc.maxConnectionAgeSeconds) -}}
{{- $_ := set $common "max_connection_age_seconds" $v.grpc.maxConnectionAgeSeconds -}}
{{- end -}}
{{- with .root.Values.tracing.otlpEndpoint -}}
{{- $_ := set $common "otlp_endpoint" . -}}
{{- end -}}
{{- $_ := mergeOverwrite $common (include "assay.tlsSettings" . | fromYaml) -}}
{{- mergeOverwrite $common (default dict .config) (default dict .values.settings) | toYaml -}}
{{- end -}}

{{/* ConfigMap with the settings file. */}}
{{- define "assay.configMap" -}}
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ include "assay.component" . }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "assay.labels" . | nindent 4 }}
data:
  config.yaml: |
    {{- include "assay.settings" . | nindent 4 }}
{{- end -}}

{{/* Headless Service: clients see every replica and balance by themselves. */}}
{{- define "assay.headlessService" -}}
apiVersion: v1
kind: Service
metadata:
  name: {{ include "assay.component" . }}{{ .suffix }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "assay.labels" . | nindent 4 }}
spec:
  clusterIP: None
  selector:
    {{- include "assay.selectorLabels" . | nindent 4 }}
  ports:
    - {name: grpc, port: 7400, targetPort: grpc, appProtocol: {{ include "assay.appProtocol" .root }}}
    - {name: metrics, port: 7500, targetPort: metrics}
    {{- range .ports }}
    - {name: {{ .name }}, port: {{ .containerPort }}, targetPort: {{ .name }}}
    {{- end }}
{{- end -}}

{{/* Claim of a service's SQLite files. */}}
{{- define "assay.homeClaim" -}}
apiVersion: v1
kind: PersistentVolumeClaim
metadata:
  name: {{ include "assay.component" . }}-home
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "assay.labels" . | nindent 4 }}
  {{- if .root.Values.storage.pvc.keep }}
  annotations:
    helm.sh/resource-policy: keep
  {{- end }}
spec:
  accessModes: [ReadWriteOnce]
  {{- with .root.Values.database.sqlite.storageClass }}
  storageClassName: {{ . }}
  {{- end }}
  resources:
    requests:
      storage: {{ .root.Values.database.sqlite.size }}
{{- end -}}

{{/* What the driver of S3 reads, of storage.s3; the keys themselves only from the Secret. */}}
{{- define "assay.s3Env" -}}
{{- with .endpoint }}
- {name: AWS_ENDPOINT_URL, value: {{ . | quote }}}
{{- end }}
{{- with .region }}
- {name: AWS_DEFAULT_REGION, value: {{ . | quote }}}
{{- end }}
{{- with .existingSecret }}
{{- range list "AWS_ACCESS_KEY_ID" "AWS_SECRET_ACCESS_KEY" "AWS_SESSION_TOKEN" }}
- name: {{ . }}
  valueFrom:
    secretKeyRef: {name: {{ $.existingSecret }}, key: {{ . }}{{ if eq . "AWS_SESSION_TOKEN" }}, optional: true{{ end }}}
{{- end }}
{{- end }}
{{- end -}}

{{/* Volumes and mounts of read-only data: list of {name, claimName, mountPath}. */}}
{{- define "assay.readOnlyVolumes" -}}
{{- range . }}
- name: {{ .name }}
  persistentVolumeClaim: {claimName: {{ .claimName }}, readOnly: true}
{{- end }}
{{- end -}}
{{- define "assay.readOnlyMounts" -}}
{{- range . }}
- {name: {{ .name }}, mountPath: {{ .mountPath }}, readOnly: true}
{{- end }}
{{- end -}}

{{/* Database URL of a component, from the given Secret or the bundled Postgres. */}}
{{- define "assay.databaseEnv" -}}
{{- $postgres := .root.Values.database.postgres -}}
{{- if $postgres.bundled.enabled -}}
- name: POSTGRES_PASSWORD
  valueFrom:
    secretKeyRef:
      name: {{ include "assay.authSecret" .root }}
      key: postgres-password
- name: ASSAY_DATABASE_URL
  value: postgresql+psycopg://assay:$(POSTGRES_PASSWORD)@{{ include "assay.component" (dict "root" .root "component" "postgres") }}:5432/{{ .component | replace "-" "_" }}
{{- else -}}
- name: ASSAY_DATABASE_URL
  valueFrom:
    secretKeyRef:
      name: {{ $postgres.existingSecret }}
      key: {{ .component }}
{{- end -}}
{{- end -}}
