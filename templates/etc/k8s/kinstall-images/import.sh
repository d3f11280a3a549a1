# Written by kinstall. Run by kinstall-images.service before the kubelet: gives containerd the images that lie in
# /var/lib/kinstall-images, so that nobody has to be asked for them.
set -eu
cd /var/lib/kinstall-images
images() { /usr/local/bin/ctr --namespace k8s.io images "$@"; }
tar -cf - oci-layout index.json blobs | images import -
# What is pinned, kubelets leave alone when the disk is full (containerd 1.7 and later).
while read -r name; do
  images label "$name" io.cri-containerd.pinned=pinned kinstall=wanted >/dev/null
done <names
images ls -q labels.kinstall==wanted | while read -r name; do
  grep -qxF "$name" names || images label "$name" io.cri-containerd.pinned= kinstall= >/dev/null
done
