"""Reports: ReportData in, HTML, CSV and JSON out. Pure."""
