/*
 * regions.c - see regions.h. Where a region lies is what its provider's public list of regions says
 * (AWS "Regions and Availability Zones", Google Cloud "Regions and zones", Azure "List of regions",
 * as of 2025); the grid is that of the state or country. The zone decides the figure, so a region's
 * year and source are its zone's. Certificates that a provider buys do not count: location-based.
 */
#include "carbon/regions.h"

static const vd_region regions[] = {
    {"aws:us-east-1", "US-VA"}, {"aws:us-east-2", "US-OH"}, {"aws:us-west-1", "US-CA"},
    {"aws:us-west-2", "US-OR"}, {"aws:us-gov-east-1", "US-OH"}, {"aws:us-gov-west-1", "US-OR"},
    {"aws:ca-central-1", "CA"}, {"aws:ca-west-1", "CA"}, {"aws:mx-central-1", "MX"},
    {"aws:sa-east-1", "BR"}, {"aws:eu-west-1", "IE"}, {"aws:eu-west-2", "GB"},
    {"aws:eu-west-3", "FR"}, {"aws:eu-central-1", "DE"}, {"aws:eu-central-2", "CH"},
    {"aws:eu-north-1", "SE"}, {"aws:eu-south-1", "IT"}, {"aws:eu-south-2", "ES"},
    {"aws:il-central-1", "IL"}, {"aws:me-south-1", "BH"}, {"aws:me-central-1", "AE"},
    {"aws:af-south-1", "ZA"}, {"aws:ap-south-1", "IN"}, {"aws:ap-south-2", "IN"},
    {"aws:ap-southeast-1", "SG"}, {"aws:ap-southeast-2", "AU"}, {"aws:ap-southeast-3", "ID"},
    {"aws:ap-southeast-4", "AU"}, {"aws:ap-southeast-5", "MY"}, {"aws:ap-southeast-6", "NZ"},
    {"aws:ap-southeast-7", "TH"}, {"aws:ap-northeast-1", "JP"}, {"aws:ap-northeast-2", "KR"},
    {"aws:ap-northeast-3", "JP"}, {"aws:ap-east-1", "HK"}, {"aws:ap-east-2", "TW"},
    {"aws:cn-north-1", "CN"}, {"aws:cn-northwest-1", "CN"},
    {"gcp:us-central1", "US-IA"}, {"gcp:us-east1", "US-SC"}, {"gcp:us-east4", "US-VA"},
    {"gcp:us-east5", "US-OH"}, {"gcp:us-south1", "US-TX"}, {"gcp:us-west1", "US-OR"},
    {"gcp:us-west2", "US-CA"}, {"gcp:us-west3", "US-UT"}, {"gcp:us-west4", "US-NV"},
    {"gcp:northamerica-northeast1", "CA"}, {"gcp:northamerica-northeast2", "CA"},
    {"gcp:northamerica-south1", "MX"}, {"gcp:southamerica-east1", "BR"},
    {"gcp:southamerica-west1", "CL"}, {"gcp:europe-central2", "PL"}, {"gcp:europe-north1", "FI"},
    {"gcp:europe-north2", "SE"}, {"gcp:europe-southwest1", "ES"}, {"gcp:europe-west1", "BE"},
    {"gcp:europe-west2", "GB"}, {"gcp:europe-west3", "DE"}, {"gcp:europe-west4", "NL"},
    {"gcp:europe-west6", "CH"}, {"gcp:europe-west8", "IT"}, {"gcp:europe-west9", "FR"},
    {"gcp:europe-west10", "DE"}, {"gcp:europe-west12", "IT"}, {"gcp:africa-south1", "ZA"},
    {"gcp:me-central1", "QA"}, {"gcp:me-central2", "SA"}, {"gcp:me-west1", "IL"},
    {"gcp:asia-east1", "TW"}, {"gcp:asia-east2", "HK"}, {"gcp:asia-northeast1", "JP"},
    {"gcp:asia-northeast2", "JP"}, {"gcp:asia-northeast3", "KR"}, {"gcp:asia-south1", "IN"},
    {"gcp:asia-south2", "IN"}, {"gcp:asia-southeast1", "SG"}, {"gcp:asia-southeast2", "ID"},
    {"gcp:australia-southeast1", "AU"}, {"gcp:australia-southeast2", "AU"},
    {"azure:eastus", "US-VA"}, {"azure:eastus2", "US-VA"}, {"azure:centralus", "US-IA"},
    {"azure:northcentralus", "US-IL"}, {"azure:southcentralus", "US-TX"},
    {"azure:westcentralus", "US-WY"}, {"azure:westus", "US-CA"}, {"azure:westus2", "US-WA"},
    {"azure:westus3", "US-AZ"}, {"azure:usgovvirginia", "US-VA"}, {"azure:usgovarizona", "US-AZ"},
    {"azure:usgovtexas", "US-TX"}, {"azure:canadacentral", "CA"}, {"azure:canadaeast", "CA"},
    {"azure:mexicocentral", "MX"}, {"azure:brazilsouth", "BR"}, {"azure:brazilsoutheast", "BR"},
    {"azure:chilecentral", "CL"}, {"azure:northeurope", "IE"}, {"azure:westeurope", "NL"},
    {"azure:uksouth", "GB"}, {"azure:ukwest", "GB"}, {"azure:francecentral", "FR"},
    {"azure:francesouth", "FR"}, {"azure:germanywestcentral", "DE"}, {"azure:germanynorth", "DE"},
    {"azure:switzerlandnorth", "CH"}, {"azure:switzerlandwest", "CH"}, {"azure:norwayeast", "NO"},
    {"azure:norwaywest", "NO"}, {"azure:swedencentral", "SE"}, {"azure:polandcentral", "PL"},
    {"azure:italynorth", "IT"}, {"azure:spaincentral", "ES"}, {"azure:austriaeast", "AT"},
    {"azure:belgiumcentral", "BE"}, {"azure:uaenorth", "AE"}, {"azure:uaecentral", "AE"},
    {"azure:qatarcentral", "QA"}, {"azure:israelcentral", "IL"}, {"azure:southafricanorth", "ZA"},
    {"azure:southafricawest", "ZA"}, {"azure:centralindia", "IN"}, {"azure:southindia", "IN"},
    {"azure:westindia", "IN"}, {"azure:jioindiawest", "IN"}, {"azure:jioindiacentral", "IN"},
    {"azure:eastasia", "HK"}, {"azure:southeastasia", "SG"}, {"azure:japaneast", "JP"},
    {"azure:japanwest", "JP"}, {"azure:koreacentral", "KR"}, {"azure:koreasouth", "KR"},
    {"azure:malaysiawest", "MY"}, {"azure:indonesiacentral", "ID"}, {"azure:newzealandnorth", "NZ"},
    {"azure:australiaeast", "AU"}, {"azure:australiasoutheast", "AU"},
    {"azure:australiacentral", "AU"}, {"azure:australiacentral2", "AU"}, {"azure:chinaeast", "CN"},
    {"azure:chinaeast2", "CN"}, {"azure:chinanorth", "CN"}, {"azure:chinanorth2", "CN"},
    {"azure:chinanorth3", "CN"},
};

const vd_region *vd_region_list(size_t *ret_n)
{
    *ret_n = sizeof(regions) / sizeof(regions[0]);
    return regions;
}
