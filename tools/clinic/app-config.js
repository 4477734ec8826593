// OHIF beside a DICOMweb server at /dicom-web of the same origin; read by the demo and by compose.yaml alike.

// An extension that lets OHIF show what radgaze stores for a radiograph. It changes what the browser holds, and
// nothing in the PACS.
const resultsOfRadiographs = {
  id: 'radgaze.results-of-radiographs',
  onModeEnter({ servicesManager }) {
    const { displaySetService } = servicesManager.services;
    displaySetService.subscribe(displaySetService.EVENTS.DISPLAY_SETS_ADDED, ({ displaySetsAdded }) =>
      displaySetsAdded.forEach(prepare)
    );
  },
};

function prepare(displaySet) {
  const { Modality, instance } = displaySet;
  if (Modality === 'SEG' && instance.SegmentationType === 'FRACTIONAL') {
    refuse(displaySet, 'OHIF does not show fractional segmentations; open the one of regions');
  } else if (Modality === 'SEG' && !instance.FrameOfReferenceUID) {
    orient(instance);
  } else if (Modality === 'SR' && !hasCoordinates(instance)) {
    displaySet.isImagingMeasurementReport = false; // shown as text; as a drawing it would be empty
    separate(instance);
  }
}

// Without this, OHIF says for ever that it loads.
function refuse(displaySet, reason) {
  displaySet.unsupported = true;
  displaySet.messages = { messages: [{ id: reason }], size: () => 1, includesMessage: () => false };
}

// OHIF lays a segmentation over an image only if both have an orientation and the segmentation has a spacing.
// A segmentation of a radiograph has neither: there is no frame of reference, and its pixels are those of the image
// (DICOM PS3.3, A.51.5.1). Give it the orientation that OHIF assumes for an image without one.
function orient(instance) {
  const shared = [instance.SharedFunctionalGroupsSequence].flat()[0] ?? {};
  shared.PixelMeasuresSequence ??= { PixelSpacing: [1, 1] };
  shared.PlaneOrientationSequence ??= { ImageOrientationPatient: [1, 0, 0, 0, 1, 0] };
  instance.SharedFunctionalGroupsSequence = [shared];
}

function hasCoordinates(item) {
  return /^SCOORD/.test(item.ValueType) || [item.ContentSequence ?? []].flat().some(hasCoordinates);
}

// Each item of a report on a line with its name, and not in one paragraph of values.
function separate(item) {
  item.ContinuityOfContent &&= 'SEPARATE';
  [item.ContentSequence ?? []].flat().forEach(separate);
}

window.config = {
  name: 'radgaze demo',
  routerBasename: null,
  extensions: [resultsOfRadiographs],
  modes: [],
  customizationService: [{ autoCineModalities: { $set: ['US'] } }],
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
