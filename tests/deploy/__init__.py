"""template.yaml and the commands around it, against an AWS double."""
