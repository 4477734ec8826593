#!/bin/sh
# Install the Debian packages that the demo and the tests marked clinic need; what is there is left as it is.
set -eu

missing=
for each in Orthanc:orthanc dcmdump:dcmtk dciodvfy:dicom3tools chromium:chromium npm:npm unshare:util-linux; do
  PATH=$PATH:/usr/sbin command -v "${each%%:*}" >/dev/null || missing="$missing ${each##*:}"
done
[ -e /usr/share/orthanc/plugins/libOrthancDicomWeb.so ] || missing="$missing orthanc-dicomweb"
[ -n "$missing" ] || exit 0

command -v apt-get >/dev/null || { echo "install$missing (names of Debian's packages)" >&2; exit 2; }
sudo=
[ "$(id -u)" = 0 ] || sudo=sudo
case "$missing " in
  *" orthanc "*)
    # Debian's package starts a service that listens on every interface; mask it, since it is not needed here.
    [ -e /etc/systemd/system/orthanc.service ] || [ ! -d /etc/systemd/system ] ||
      $sudo ln -s /dev/null /etc/systemd/system/orthanc.service
    ;;
esac
$sudo apt-get update -qq
# shellcheck disable=SC2086  # several names
$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
