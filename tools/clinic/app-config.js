// OHIF beside a DICOMweb server at /dicom-web of the same origin; read by the demo and by compose.yaml alike.

// OHIF lays a segmentation over an image only where the segmentation states an orientation and a pixel spacing.
// A radiograph has no frame of reference, and a segmentation of it must then have neither (DICOM PS3.3, A.51.5):
// its pixels are those of the image. This extension adds, in the browser alone, the orientation that OHIF itself
// assumes for an image without one, so that the two match pixel by pixel. Nothing is written to the PACS.
const segmentationsOfRadiographs = {
  id: 'radgaze.segmentations-of-radiographs',
  onModeEnter({ servicesManager }) {
    const { displaySetService } = servicesManager.services;
    displaySetService.subscribe(displaySetService.EVENTS.DISPLAY_SETS_ADDED, ({ displaySetsAdded }) => {
      displaySetsAdded.filter(({ Modality }) => Modality === 'SEG').forEach(prepare);
    });
  },
};

function prepare(displaySet) {
  if (displaySet.instance.SegmentationType === 'FRACTIONAL') {
    explain(displaySet, 'OHIF does not show fractional segmentations; open the binary one');
  } else if (!displaySet.instance.FrameOfReferenceUID) {
    complete(displaySet.instance);
  }
}

// Without this, OHIF shows for ever that it loads.
function explain(displaySet, reason) {
  displaySet.unsupported = true;
  displaySet.messages = { messages: [{ id: reason }], size: () => 1, includesMessage: () => false };
}

function complete(instance) {
  const sequence = instance.SharedFunctionalGroupsSequence;
  const shared = (Array.isArray(sequence) ? sequence[0] : sequence) ?? {};
  shared.PixelMeasuresSequence ??= { PixelSpacing: [1, 1] };
  shared.PlaneOrientationSequence ??= { ImageOrientationPatient: [1, 0, 0, 0, 1, 0] };
  instance.SharedFunctionalGroupsSequence = [shared];
}

window.config = {
  name: 'radgaze demo',
  routerBasename: null,
  extensions: [segmentationsOfRadiographs],
  modes: [],
  customizationService: {},
  showStudyList: true,
  disableConfirmationPrompts: true, // a segmentation is shown at once
  maxNumberOfWebWorkers: 2,
  showWarningMessageForCrossOrigin: false,
  showCPUFallbackMessage: false,
  showLoadingIndicator: true,
  maxNumRequests: { interaction: 100, thumbnail: 5, prefetch: 5 },
  defaultDataSourceName: 'dicomweb',
  dataSources: [
    {
      namespace: '@ohif/extension-default.dataSourcesModule.dicomweb',
      sourceName: 'dicomweb',
      configuration: {
        friendlyName: 'PACS of the demo',
        name: 'orthanc',
        qidoRoot: window.location.origin + '/dicom-web',
        wadoRoot: window.location.origin + '/dicom-web',
        wadoUriRoot: window.location.origin + '/wado',
        qidoSupportsIncludeField: false,
        imageRendering: 'wadors',
        thumbnailRendering: 'wadors',
        enableStudyLazyLoad: true,
        supportsFuzzyMatching: false,
        supportsWildcard: true,
        dicomUploadEnabled: false,
        omitQuotationForMultipartRequest: true,
      },
    },
  ],
};
