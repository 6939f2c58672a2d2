{{/* Ray outside the gateway's process: addresses, authentication, `ray start` containers. */}}

{{- define "assay.rayAddress" -}}
{{- $ray := .Values.serving.ray -}}
{{- if eq $ray.mode "external" -}}
{{- $ray.address -}}
{{- else if eq $ray.mode "kuberay" -}}
{{- printf "%s-head-svc.%s.svc:6379" (include "assay.rayCluster" .) .Release.Namespace -}}
{{- else -}}
{{- printf "%s.%s.svc:6379" (include "assay.component" (dict "root" . "component" "ray-head")) .Release.Namespace -}}
{{- end -}}
{{- end -}}

{{/* Every member shows the same token; Ray refuses members and drivers without it. */}}
{{- define "assay.rayEnv" -}}
- name: RAY_AUTH_MODE
  value: token
- name: RAY_AUTH_TOKEN
  valueFrom:
    secretKeyRef:
      name: {{ include "assay.authSecret" . }}
      key: ray-token
- name: RAY_USAGE_STATS_ENABLED
  value: "0"
- name: POD_IP
  valueFrom:
    fieldRef:
      fieldPath: status.podIP
{{- end -}}

{{/* Container that makes its pod a member: (dict "root" $ "name" ... "arguments" list "resources" ... ); with a "port" it is probed, without arguments KubeRay writes its command. */}}
{{- define "assay.rayContainer" -}}
name: {{ .name }}
image: {{ include "assay.image" (dict "root" .root "name" "serving") }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
{{- with .arguments }}
command:
  - ray
  - start
  {{- toYaml . | nindent 2 }}
  - --node-ip-address=$(POD_IP)
  - --object-store-memory={{ mul (int $.root.Values.serving.ray.objectStoreMib) 1048576 }}
  - --temp-dir=/tmp/ray
  - --disable-usage-stats
  - --block
{{- end }}
env:
  - name: HOME
    value: /tmp
  {{- include "assay.rayEnv" .root | nindent 2 }}
resources:
  {{- toYaml .resources | nindent 2 }}
{{- with .port }}
startupProbe:
  tcpSocket: {port: {{ . }}}
  periodSeconds: 5
  failureThreshold: 24
readinessProbe:
  tcpSocket: {port: {{ . }}}
  periodSeconds: 5
  failureThreshold: 3
livenessProbe:
  tcpSocket: {port: {{ . }}}
  periodSeconds: 10
  failureThreshold: 6
{{- end }}
securityContext:
  {{- toYaml .root.Values.securityContext | nindent 2 }}
volumeMounts:
  - {name: tmp, mountPath: /tmp}
  - {name: shm, mountPath: /dev/shm}
  {{- with .mounts }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}

{{/* The gateway's own raylet: a native sidecar with 0 CPUs, so that no engine is ever put there. */}}
{{- define "assay.rayMember" -}}
{{- $arguments := list (printf "--address=%s" (include "assay.rayAddress" .)) "--num-cpus=0" "--num-gpus=0" -}}
- restartPolicy: Always
  {{- include "assay.rayContainer" (dict "root" . "name" "raylet" "arguments" $arguments "resources" .Values.serving.ray.resources) | nindent 2 }}
{{- end -}}

{{/* Pod of a head or worker: (dict "root" $ "component" ... "container" yaml "values" placement). */}}
{{- define "assay.rayPod" -}}
{{- $root := .root -}}
metadata:
  labels:
    {{- include "assay.labels" (dict "root" $root "component" .component) | nindent 4 }}
    assay.dev/ray: "true"
  {{- with $root.Values.podAnnotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  serviceAccountName: {{ include "assay.component" (dict "root" $root "component" "serving") }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  terminationGracePeriodSeconds: 30
  {{- include "assay.placement" . | nindent 2 }}
  securityContext:
    {{- toYaml $root.Values.podSecurityContext | nindent 4 }}
  containers:
    - {{- .container | nindent 6 }}
  volumes:
    - name: tmp
      emptyDir: {}
    - name: shm
      emptyDir: {medium: Memory, sizeLimit: {{ $root.Values.serving.shmSize }}}
    - name: data
      persistentVolumeClaim:
        claimName: {{ include "assay.dataClaim" $root }}
{{- end -}}

{{- define "assay.rayHeadContainer" -}}
{{- $arguments := list -}}
{{- if eq .Values.serving.ray.mode "chart" -}}
{{- $arguments = list "--head" "--port=6379" "--num-cpus=0" "--num-gpus=0" "--include-dashboard=false" -}}
{{- end -}}
{{ include "assay.rayContainer" (dict "root" . "name" "ray-head" "arguments" $arguments "port" 6379 "resources" .Values.serving.ray.head.resources) }}
{{- end -}}

{{- define "assay.rayWorkerContainer" -}}
{{- $workers := .Values.serving.ray.workers -}}
{{- $gpu := .Values.serving.gpu -}}
{{- $gpus := ternary (int $gpu.count) 0 $gpu.enabled -}}
{{- $resources := deepCopy $workers.resources -}}
{{- if $gpu.enabled -}}
{{- $_ := set $resources "limits" (set (default dict $resources.limits) $gpu.resource (int $gpu.count)) -}}
{{- end -}}
{{- $arguments := list -}}
{{- if eq .Values.serving.ray.mode "chart" -}}
{{- $arguments = list (printf "--address=%s" (include "assay.rayAddress" .)) (printf "--num-cpus=%d" (int $workers.cpus)) (printf "--num-gpus=%d" $gpus) "--node-manager-port=6380" -}}
{{- end -}}
{{- $mounts := list (dict "name" "data" "mountPath" "/var/lib/assay/data" "readOnly" true) -}}
{{ include "assay.rayContainer" (dict "root" . "name" "ray-worker" "arguments" $arguments "port" 6380 "resources" $resources "mounts" $mounts) }}
{{- end -}}

{{- define "assay.rayWorkerPlacement" -}}
{{- $workers := .Values.serving.ray.workers -}}
{{- dict "runtimeClassName" .Values.serving.runtimeClassName "priorityClassName" .Values.serving.priorityClassName
  "nodeSelector" $workers.nodeSelector "tolerations" $workers.tolerations "affinity" $workers.affinity | toYaml -}}
{{- end -}}

{{/* "true" if Ray's own autoscaler scales the workers, by the KubeRay operator. */}}
{{- define "assay.rayAutoscaler" -}}
{{- $ray := .Values.serving.ray -}}
{{- if and (eq $ray.mode "kuberay") (ne (int $ray.workers.minReplicas) (int $ray.workers.maxReplicas)) -}}true{{- end -}}
{{- end -}}

{{/* Name of the RayCluster. KubeRay leaves pods as they are when their template changes: another template is another cluster. */}}
{{- define "assay.rayCluster" -}}
{{- printf "%s-%s" (include "assay.component" (dict "root" . "component" "ray")) (include "assay.rayClusterParts" . | sha256sum | trunc 8) -}}
{{- end -}}

{{/* What makes the pods of the RayCluster: YAML of {scaling, head, workers}. KubeRay writes the `ray start` lines itself. */}}
{{- define "assay.rayClusterParts" -}}
{{- $autoscaler := include "assay.rayAutoscaler" . -}}
{{- $account := "kubernetes-api" -}}
{{- $gpus := ternary (int .Values.serving.gpu.count) 0 .Values.serving.gpu.enabled -}}
{{- $placement := include "assay.rayWorkerPlacement" . | fromYaml -}}
{{- $head := include "assay.rayPod" (dict "root" . "component" "ray-head" "values" dict "container" (include "assay.rayHeadContainer" .)) | fromYaml -}}
{{- $worker := include "assay.rayPod" (dict "root" . "component" "ray-worker" "values" $placement "container" (include "assay.rayWorkerContainer" .)) | fromYaml -}}
{{- if $autoscaler -}}
{{- /* KubeRay makes the account of the autoscaler and its role; its token is mounted there and nowhere else. */ -}}
{{- $_ := unset $head.spec "serviceAccountName" -}}
{{- $sources := list
  (dict "serviceAccountToken" (dict "path" "token" "expirationSeconds" 3607))
  (dict "configMap" (dict "name" "kube-root-ca.crt" "items" (list (dict "key" "ca.crt" "path" "ca.crt"))))
  (dict "downwardAPI" (dict "items" (list (dict "path" "namespace" "fieldRef" (dict "fieldPath" "metadata.namespace"))))) -}}
{{- $_ := set $head.spec "volumes" (append $head.spec.volumes (dict "name" $account "projected" (dict "sources" $sources))) -}}
{{- end -}}
scaling:
  enableInTreeAutoscaling: {{ eq $autoscaler "true" }}
  {{- if $autoscaler }}
  autoscalerOptions:
    version: v2
    idleTimeoutSeconds: {{ .Values.serving.ray.kuberay.idleSeconds }}
    imagePullPolicy: {{ .Values.image.pullPolicy }}
    env:
      - name: HOME
        value: /tmp
      {{- include "assay.rayEnv" . | nindent 6 }}
    resources:
      {{- toYaml .Values.serving.ray.kuberay.autoscalerResources | nindent 6 }}
    securityContext:
      {{- toYaml .Values.securityContext | nindent 6 }}
    volumeMounts:
      - {name: tmp, mountPath: /tmp}
      - {name: {{ $account }}, mountPath: /var/run/secrets/kubernetes.io/serviceaccount, readOnly: true}
  {{- end }}
head:
  rayStartParams:
    num-cpus: "0"
    num-gpus: "0"
    include-dashboard: "false"
    temp-dir: /tmp/ray
    object-store-memory: {{ mul (int .Values.serving.ray.objectStoreMib) 1048576 | quote }}
  template:
    {{- toYaml $head | nindent 4 }}
workers:
  rayStartParams:
    num-cpus: {{ .Values.serving.ray.workers.cpus | quote }}
    num-gpus: {{ $gpus | quote }}
    node-manager-port: "6380"
    temp-dir: /tmp/ray
    object-store-memory: {{ mul (int .Values.serving.ray.objectStoreMib) 1048576 | quote }}
  template:
    {{- toYaml $worker | nindent 4 }}
{{- end -}}

{{/* "true" if KEDA scales the workers. */}}
{{- define "assay.rayKeda" -}}
{{- $keda := .Values.serving.ray.keda -}}
{{- if and (eq .Values.serving.ray.mode "chart") $keda.prometheusAddress -}}
{{- include "assay.crd" (dict "root" . "mode" $keda.mode "api" "keda.sh/v1alpha1/ScaledObject") -}}
{{- end -}}
{{- end -}}
