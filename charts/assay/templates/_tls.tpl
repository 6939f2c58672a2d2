{{/* TLS of a component: its Secret, where it is mounted, the settings that name the files. */}}

{{/* Name of the Secret: (dict "root" $ "component" ...); "" if none is given. */}}
{{- define "assay.tlsSecret" -}}
{{- $tls := .root.Values.tls -}}
{{- if eq $tls.mode "certManager" -}}
{{- printf "%s-tls" (include "assay.component" .) -}}
{{- else if eq $tls.mode "secrets" -}}
{{- default $tls.secrets.name (get $tls.secrets.byComponent (.component | replace "_" "-")) -}}
{{- end -}}
{{- end -}}

{{/* Settings of a service: (dict "root" $ "service" ...). Clients of the coordinator are asked for a certificate with `all` only. */}}
{{- define "assay.tlsSettings" -}}
{{- $tls := .root.Values.tls -}}
{{- if ne $tls.mode "off" -}}
{{- $folder := "/etc/assay/tls" -}}
tls_cert_file: {{ $folder }}/tls.crt
tls_key_file: {{ $folder }}/tls.key
peer_ca_file: {{ $folder }}/ca.crt
{{- if ne $tls.clientCertificates "none" }}
peer_cert_file: {{ $folder }}/tls.crt
peer_key_file: {{ $folder }}/tls.key
{{- if or (ne .service "coordinator") (eq $tls.clientCertificates "all") }}
tls_client_ca_file: {{ $folder }}/ca.crt
{{- end }}
{{- end }}
{{- end -}}
{{- end -}}

{{/* What a Service says of its gRPC port. */}}
{{- define "assay.appProtocol" -}}
{{- ternary "kubernetes.io/h2c" "https" (eq .Values.tls.mode "off") -}}
{{- end -}}
