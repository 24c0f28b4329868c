"""OpenVINO's CPU plugin: the operators that its low precision transformations run on integers."""
