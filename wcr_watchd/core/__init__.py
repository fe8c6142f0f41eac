"""The ground floor: vocabulary, protocols, errors and pure logic. No I/O, no clock, no third party."""
